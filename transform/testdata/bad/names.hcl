where = row.deletd_at == null # E0302: Did you mean "deleted_at"?
clean {
  email = emial_normalize(row.email) # E0304: Did you mean "email_normalize"?
  x     = clean.emial # E0303: Did you mean "email"?
  n     = now() # E0304: use meta.now
  o     = lower_or(row.email, "") # E0304: never fails
}
reject "r" { when = clean.x == clean.email || clean.n == clean.o }
key { shop_customer_id = tostring(id) } # E0301: Did you mean "row.id"?
match { email = rwo.email } # E0301: Did you mean "row"?
fields "source" {
  emial     = row.email # E0320: Did you mean "email"?
  firstname = meta.operation # E0305: meta has no "operation"
  lastname  = local.nope # E0308: There is no local.nope
  website   = var.token # E0333: is sensitive
  phone     = secret.hubspot # E0333: settings of sources
  created   = row.created_at # E0321: does not let "created"
  mrr       = row # E0307: name what is meant
  visits    = row.data.city # E0307: json_get(row.data
  born      = app.born # E0306: does not have app
  interests = [for t in row.email : t] # E0310: goes through lists
  jobtitle  = row.tags["a"] # E0307: indexed by an int
  is_test   = old.is_test # E0316: REPLICA IDENTITY FULL
  since     = old == null ? row.created_at : null # E0316: full row images
}
