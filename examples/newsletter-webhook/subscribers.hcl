# Who has confirmed, and has not unsubscribed, is on the list: a signed webhook says so to a service of your own.
#
#   penstock test examples/newsletter-webhook

secret "list" { value = env("LIST_KEY") }

source "postgres" "shop" {
  url  = env("SHOP_URL")
  slot = "penstock_subscribers"
  table "subscribers" {
    name = "public.subscribers"
    pii  = ["email"]
  }
}

app "http" "list" {
  base_url    = env("LIST_URL", "https://lists.example.com/hooks/penstock")
  signing_key = secret.list # X-Signature: HMAC-SHA-256 over X-Timestamp and the body
  pii         = true
  calls       = 10
  window      = "1s"
  object "members" {
    key      = "subscriber_id"
    fields   = { email = "email", domain = "text", language = "text", interests = "list", since = "date", fingerprint = "text" }
    required = ["email"]
  }
}

pipeline "members" {
  from  = source.postgres.shop.subscribers
  to    = app.http.list.members
  where = row.confirmed_at != null && row.unsubscribed_at == null

  clean {
    email = email_normalize(row.email) # a row with a bad one is rejected: bad_email
  }
  reject "role_address" {
    when    = regex_match(clean.email, "^(postmaster|abuse|no-?reply|noreply)@")
    message = "subscriber ${row.id} is a role address"
  }

  key { subscriber_id = tostring(row.id) }
  fields "source" {
    email       = clean.email
    domain      = email_domain(clean.email)
    language    = coalesce(lower(row.language), "en")
    interests   = sort(distinct([for i in row.interests : lower(trim(i)) if nonempty(i) != null]))
    since       = todate(to_tz(row.confirmed_at, "Europe/Berlin")) # the day, by the clock of Berlin
    fingerprint = hmac(secret.list, clean.email)                   # the same for one address, and no address
  }

  on "leave"  { action = "delete" } # unsubscribed: off the list at once
  on "delete" { action = "delete" }
  guard       { max_deletes = "5%" }
}
