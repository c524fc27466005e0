package transform

var cleaningFunctions = []*function{
	{
		name: "email_normalize", params: []param{{name: "text", types: textType}}, result: returns(text), fails: []string{"bad_email"},
		call: func(w *Worker, a []value) value {
			if s, _, ok := w.normalEmail(a[0].s); ok {
				return ofText(s)
			}
			return fail("bad_email")
		},
		doc: "The e-mail address trimmed and in lower case, its domain in ASCII (IDNA). RFC 5321's limits and RFC 5322's dot-atom; refused besides: quoted local parts, comments, address literals, domains without a dot, local parts outside ASCII.", examples: [][2]string{{`email_normalize(" Ada@Bücher.example ")`, `"ada@xn--bcher-kva.example"`}, {`email_normalize_or("nobody", null)`, `null`}},
	},
	{
		name: "is_email", params: []param{{name: "text", types: textType}}, result: returns(boolean),
		call: func(w *Worker, a []value) value {
			_, _, ok := w.normalEmail(a[0].s)
			return ofBool(ok)
		},
		doc: "Whether email_normalize would take it.", examples: [][2]string{{`is_email("a@b.example")`, `true`}, {`is_email("a@")`, `false`}},
	},
	{
		name: "email_domain", params: []param{{name: "text", types: textType}}, result: returns(text), fails: []string{"bad_email"},
		call: func(w *Worker, a []value) value {
			s, at, ok := w.normalEmail(a[0].s)
			if !ok {
				return fail("bad_email")
			}
			return ofText(s[at+1:])
		},
		doc: "The domain of the address, normalised.", examples: [][2]string{{`email_domain("Ada@Example.COM")`, `"example.com"`}},
	},
	{
		name: "phone_e164", params: []param{{name: "text", types: textType}, {name: "country", types: textType}}, optional: 1, result: returns(text), fails: []string{"bad_phone"},
		call: func(w *Worker, a []value) value {
			country := ""
			if len(a) > 1 {
				country = a[1].s
			}
			if s, ok := w.phone(a[0].s, country); ok {
				return ofText(s)
			}
			return fail("bad_phone")
		},
		doc: "The phone number in E.164's form, if libphonenumber knows it as valid. `country` (ISO 3166, two letters) is where numbers without `+` are dialled; without it such numbers are refused. Extensions are dropped.", examples: [][2]string{{`phone_e164("(415) 555-2671", "US")`, `"+14155552671"`}, {`phone_e164_or("12", "US", null)`, `null`}},
	},
	{
		name: "country_code", params: []param{{name: "text", types: textType}}, result: returns(text), fails: []string{"bad_country"},
		call: func(w *Worker, a []value) value {
			if code, ok := w.country(a[0].s); ok {
				return ofText(code)
			}
			return fail("bad_country")
		},
		doc: "The two letters of ISO 3166 for a country given by its two or three letters or its English name, in any case; some common other names are known.", examples: [][2]string{{`country_code("germany")`, `"DE"`}, {`country_code("USA")`, `"US"`}},
	},
}
