package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// settingFunctions are the functions of settings, variables and locals. Where the row
// language has one of the same name, it does the same.
var settingFunctions = map[string]function.Function{
	"env": text(env),

	"lower": stdlib.LowerFunc, "upper": stdlib.UpperFunc, "trim": stdlib.TrimSpaceFunc, "replace": stdlib.ReplaceFunc,
	"split": stdlib.SplitFunc, "join": stdlib.JoinFunc, "format": stdlib.FormatFunc, "substr": stdlib.SubstrFunc,
	"regex_match": predicate("text", "pattern", func(s, pattern string) (bool, error) {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return false, function.NewArgErrorf(1, "the pattern is wrong: %s", err)
		}
		return re.MatchString(s), nil
	}),
	"starts_with": predicate("text", "prefix", func(s, prefix string) (bool, error) { return strings.HasPrefix(s, prefix), nil }),
	"ends_with":   predicate("text", "suffix", func(s, suffix string) (bool, error) { return strings.HasSuffix(s, suffix), nil }),

	"length": length, "contains": containsFunction, "coalesce": stdlib.CoalesceFunc,
	"concat": stdlib.ConcatFunc, "merge": stdlib.MergeFunc, "keys": stdlib.KeysFunc, "values": stdlib.ValuesFunc, "zipmap": stdlib.ZipmapFunc,
	"flatten": stdlib.FlattenFunc, "distinct": stdlib.DistinctFunc, "sort": stdlib.SortFunc, "range": stdlib.RangeFunc, "setproduct": stdlib.SetProductFunc,
	"min": stdlib.MinFunc, "max": stdlib.MaxFunc, "abs": stdlib.AbsoluteFunc, "floor": stdlib.FloorFunc, "ceil": stdlib.CeilFunc,
	"json_parse": stdlib.JSONDecodeFunc, "json_string": stdlib.JSONEncodeFunc,
	"tostring": stdlib.MakeToFunc(cty.String), "tonumber": stdlib.MakeToFunc(cty.Number), "tobool": stdlib.MakeToFunc(cty.Bool),
	"toset": stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)), "tolist": stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)), "tomap": stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)),
	"try": tryfunc.TryFunc, "can": tryfunc.CanFunc,
}

// predicate makes a function of two texts that says yes or no.
func predicate(a, b string, f func(a, b string) (bool, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: a, Type: cty.String}, {Name: b, Type: cty.String}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			ok, err := f(args[0].AsString(), args[1].AsString())
			return cty.BoolVal(ok), err
		},
	})
}

// length is of a text in characters, else of a collection.
var length = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType}},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if args[0].Type() == cty.String {
			return stdlib.Strlen(args[0])
		}
		return stdlib.Length(args[0])
	},
})

// containsFunction looks for a text in a text, or for an element in a collection.
var containsFunction = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "in", Type: cty.DynamicPseudoType}, {Name: "value", Type: cty.DynamicPseudoType, AllowNull: true}},
	Type:   function.StaticReturnType(cty.Bool),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		switch in, v := args[0], args[1]; {
		case in.Type() == cty.String && v.Type() == cty.String && !v.IsNull():
			return cty.BoolVal(strings.Contains(in.AsString(), v.AsString())), nil
		case in.Type() == cty.String:
			return cty.NilVal, function.NewArgError(1, fmt.Errorf("a text is looked for in a text"))
		}
		return stdlib.Contains(args[0], args[1])
	},
})
