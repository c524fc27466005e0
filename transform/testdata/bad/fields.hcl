key { email = "same" } # E0328: must come from the row
match { email = row.email } # E0330: is the key already
fields "source" {
  firstname      = row.id # E0322: Use tostring().
  mrr            = row.email # E0322: Use todecimal().
  visits         = row.balance # E0322: Use toint().
  is_test        = row.email # E0322: Use tobool().
  since          = row.updated_at # E0322: to_tz
  born           = row.created_at # E0322: todate
  interests      = row.email # E0322: split()
  lifecyclestage = row.is_test == true ? "lead" : "custmer" # E0324: Did you mean "customer"?
  jobtitle       = coalesce(row.notes, "much too long a title") # E0325: takes 10 characters, this has 21
  plan           = row.plan # W0305: "team"
  needed         = row.notes # E0323: column notes is nullable
  website        = row.tags # E0322: join(
}
fields "app" {
  firstname = row.first_name # E0326: fields "source" already W0306: up to 80
}
fields "fill" {
  email    = row.email # E0326: written as the key
  lastname = row.photo # E0322: sha256()
}
