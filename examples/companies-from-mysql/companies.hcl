# Accounts of a MySQL database become companies in a CRM, once a night by the clock of the office.
#
#   penstock test examples/companies-from-mysql

variable "office" {
  description = "whose clock the night is by, and whose times DATETIME columns are"
  type        = string
  default     = "Europe/Berlin"
}

locals {
  tiers = { free = "Self-service", pro = "Professional", enterprise = "Enterprise" }
}

secret "hubspot" { value = env("HUBSPOT_TOKEN") }

source "mysql" "erp" {
  url = env("ERP_URL")
  table "accounts" { name = "erp.accounts" }
}

app "hubspot" "crm" {
  token    = secret.hubspot
  base_url = env("HUBSPOT_URL", "https://api.hubapi.com")
  reserve  = "20%" # of the calls are left to people
}

pipeline "companies" {
  from  = source.mysql.erp.accounts
  to    = app.hubspot.crm.companies
  run   = cron("30 2 * * *", var.office)
  where = row.closed_at == null

  clean {
    website = url_normalize_or(row.website, null)
    vat     = vat_id_or(row.vat_id, row.country, null) # form and check digits, as VIES writes it
  }
  reject "enterprise_without_vat" {
    when    = row.plan == "enterprise" && clean.vat == null
    message = "account ${row.id} (${row.name}) needs a valid VAT number before sales may see it"
  }

  key { erp_account_id = tostring(row.id) }
  fields "source" {
    name          = collapse(row.name)
    domain        = clean.website == null ? null : regex_replace(clean.website, "^https?://(?:www\\.)?([^/:]+).*$", "$1")
    website       = clean.website
    country       = country_name_or(row.country, null)
    city          = title_case(trim(row.city))
    annualrevenue = round(row.yearly, 0)
    description   = <<-EOT
      ${lookup_map(row.plan, local.tiers, "Self-service")}, ${row.used_seats} of ${row.seats} seats%{if row.seats > 0} (${percent(row.used_seats, row.seats, 0)} %)%{endif}
    EOT
  }

  on "leave" { # closed accounts stay in the CRM, and say so
    action = "set"
    fields { description = "Closed" }
  }
  on "delete" { action = "archive" }
  guard {
    max_deletes = "2%"
    max_changes = 5000
  }
}
