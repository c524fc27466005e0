# Customers of a shop's database become contacts in a CRM.

penstock { data_dir = env("PENSTOCK_DATA", "penstock-data") }

secret "hubspot" { value = env("HUBSPOT_TOKEN") }

source "postgres" "shop" {
  url = env("SHOP_URL")
  table "customers" { name = "public.customers" }
}

app "hubspot" "crm" {
  token    = secret.hubspot
  base_url = env("HUBSPOT_URL", "https://api.hubapi.com")
}

pipeline "customers_to_crm" {
  from  = source.postgres.shop.customers
  to    = app.hubspot.crm.contacts
  where = row.deleted_at == null && row.is_test != true

  clean {
    email = email_normalize_or(row.email, null)
    phone = phone_e164_or(row.phone, coalesce(row.country, "US"), null)
  }
  reject "no_email" {
    when    = clean.email == null
    message = "customer ${row.id} has no usable e-mail"
  }

  key   { shop_customer_id = tostring(row.id) } # unique in the app: how our record is found again
  match { email = clean.email }                 # once: take over the contact that was there before us

  fields "source" { # the database owns these
    email     = clean.email
    firstname = title_case(trim(row.first_name))
    lastname  = title_case(trim(row.last_name))
    phone     = clean.phone
    shop_mrr  = major(row.mrr_cents, "EUR")
  }
  fields "app" { # the app owns this: written on create, never again
    lifecyclestage = "lead"
  }

  on "delete" { action = "archive" }
  on "leave"  { action = "archive" }
  guard       { max_deletes = "20%" }
}
