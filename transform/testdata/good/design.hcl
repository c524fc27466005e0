where = row.deleted_at == null && row.is_test != true

clean {
  email = email_normalize_or(row.email, null)
  phone = phone_e164_or(row.phone, coalesce(row.country, "US"), null)
}
reject "no_email" {
  when    = clean.email == null
  message = "customer ${row.id} has no usable e-mail"
}
key   { shop_customer_id = tostring(row.id) }
match { email = clean.email }
fields "source" {
  email     = clean.email
  firstname = title_case(trim(row.first_name))
  mrr       = major(row.mrr_cents, "EUR")
  interests = row.tags
  born      = row.born
  since     = row.created_at
  visits    = row.age
  plan      = row.plan == "free" ? "free" : "pro"
}
fields "app"  { lifecyclestage = row.is_test == true ? "lead" : "customer" }
fields "fill" { phone = clean.phone }
