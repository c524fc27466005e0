# One shop, a CRM account for each region: one pipeline block makes a pipeline for each.
#
#   penstock test examples/regions
#   penstock run -var 'regions={ at = { countries = ["AT"], calling = "AT" } }' examples/regions

variable "regions" {
  description = "the CRM accounts, and the countries whose customers go there"
  type        = map(object({ countries = list(string), calling = string, currency = optional(string, "EUR") }))
  default = {
    dach = { countries = ["DE", "AT", "CH"], calling = "DE" }
    us   = { countries = ["US"], calling = "US", currency = "USD" }
  }
  validation {
    condition     = !contains([for r in values(var.regions) : length(r.countries)], 0)
    error_message = "Each region has at least one country."
  }
}

locals {
  base_url = env("HUBSPOT_URL", "https://api.hubapi.com")
}

function "full_name" {
  params = [first, last]
  result = title_case(collapse(concat_ws(" ", first, last)))
}

secret "hubspot" { value = env("HUBSPOT_TOKEN") }

source "postgres" "shop" {
  url  = env("SHOP_URL")
  slot = "penstock_regions"
  table "customers" {
    name = "public.customers"
    pii  = ["email", "phone"]
  }
}

app "hubspot" "dach" {
  token    = secret.hubspot
  base_url = local.base_url
  pii      = true
}
app "hubspot" "us" {
  token    = secret.hubspot
  base_url = local.base_url
  pii      = true
}

pipeline "customers" {
  for_each = var.regions
  from     = source.postgres.shop.customers
  to       = app.hubspot[each.key].contacts
  where    = contains(each.value.countries, row.country) == true && row.deleted_at == null

  clean {
    email = email_normalize_or(row.email, null)
  }
  reject "no_email" {
    when    = clean.email == null
    message = "customer ${row.id} of ${each.key} has no usable e-mail"
  }

  key { shop_customer_id = tostring(row.id) }
  fields "source" {
    email     = clean.email
    firstname = full_name(row.first_name, row.last_name)
    phone     = phone_e164_or(row.phone, each.value.calling, null)
    shop_mrr  = major(row.mrr_cents, each.value.currency)
  }
}
