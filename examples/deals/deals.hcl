# Deals of a shop's database, with the contacts and companies that they belong to. A deal goes out once
# its contact is in the CRM; it is associated with that, and with its company as soon as there is one.

secret "hubspot" { value = env("HUBSPOT_TOKEN") }

source "postgres" "shop" {
  url = env("SHOP_URL")
  table "customers" { name = "public.customers" }
  table "firms"     { name = "public.firms" }
  table "deals"     { name = "public.deals" }
}

app "hubspot" "crm" {
  token    = secret.hubspot
  base_url = env("HUBSPOT_URL", "https://api.hubapi.com")
}

pipeline "contacts" {
  from = source.postgres.shop.customers
  to   = app.hubspot.crm.contacts
  key   { shop_id = tostring(row.id) }
  match { email = row.email }
  fields "source" {
    email    = row.email
    lastname = row.name
  }
}

pipeline "companies" {
  from = source.postgres.shop.firms
  to   = app.hubspot.crm.companies
  key             { shop_id = "${row.country}-${row.number}" }
  fields "source" { name = row.name }
}

pipeline "deals" {
  from = source.postgres.shop.deals
  to   = app.hubspot.crm.deals

  parent "contact" {
    pipeline = "contacts"
    key { id = row.customer_id }
    wait = "2h" # then it is listed as parent_missing, and goes by itself when the contact comes
  }
  parent "company" {
    pipeline = "companies"
    key { # of two columns: a deal in which one is NULL has no company
      country = row.firm_country
      number  = row.firm_number
    }
    required = false # the deal does not wait for it
  }

  key { shop_id = tostring(row.id) }
  fields "source" {
    dealname = row.title
    amount   = row.amount
  }
  fields "app" {
    dealstage = "appointmentscheduled"
  }
}
