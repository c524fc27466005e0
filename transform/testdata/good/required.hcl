# facts: where and reject leave no NULL behind
where = !(row.email == null) && row.phone != null
reject "x" { when = row.notes == null || clean.c == null }
clean { c = nonempty(row.country) }
key { shop_customer_id = row.email }
fields "source" {
  email    = row.email
  phone    = row.phone
  needed   = row.notes
  jobtitle = clean.c
  lastname = row.first_name != null ? lower(row.first_name) : ""
}
