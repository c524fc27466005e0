package transform

import (
	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-cdc/penstock/config"
)

func codeOf(d *hcl.Diagnostic) string { return config.Code(d) }
