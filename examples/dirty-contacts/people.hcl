# Dirty rows become clean contacts: what can be mended is mended, what can't is left out or named, and nobody waits for it.
#
#   penstock test examples/dirty-contacts

locals {
  nothing = ["", "-", "n/a", "none", "null", "unknown", "x"] # what people type where they have nothing to say
}

function "said" {
  description = "a text without white space around it, NULL where it says nothing"
  params      = [x]
  result      = contains(local.nothing, lower(trim(x))) == true ? null : collapse(x)
}

secret "hubspot" { value = env("HUBSPOT_TOKEN") }

source "postgres" "shop" {
  url  = env("SHOP_URL")
  slot = "penstock_people"
  table "people" {
    name = "public.people"
    pii  = ["name", "email", "phone", "birthday"]
  }
}

app "hubspot" "crm" {
  token    = secret.hubspot
  base_url = env("HUBSPOT_URL", "https://api.hubapi.com")
  pii      = true
}

pipeline "people" {
  from = source.postgres.shop.people
  to   = app.hubspot.crm.contacts

  clean {
    name    = person_name(said(row.name)) # "KING, ADA" is Ada King
    email   = email_normalize_or(said(row.email), null)
    country = country_code_or(said(row.country), null) # "Germany", "DEU" and "de" are DE
    phone   = phone_e164_or(said(row.phone), coalesce(clean.country, "DE"), null)
    words   = split(" ", coalesce(clean.name, ""))
  }

  reject "unreachable" {
    when    = clean.email == null && clean.phone == null
    message = "person ${row.id} has neither a usable address nor a usable number"
  }

  key   { shop_person_id = tostring(row.id) }
  match { email = clean.email }

  fields "source" {
    email     = clean.email
    firstname = clean.words[0]
    lastname  = length(clean.words) > 1 ? clean.words[-1] : null
    phone     = clean.phone
    website   = url_normalize_or(said(row.website), skip())                                        # a bad one leaves what the CRM has
    zip       = coalesce(postcode_or(said(row.postcode), clean.country, null), said(row.postcode)) # as it is, where the form is not known
    country   = country_name_or(clean.country, null)
    jobtitle  = truncate(html_strip(said(row.notes)), 40)
  }
  fields "fill" { # only where the CRM has nothing
    date_of_birth = tostring(coalesce(todate_or(row.birthday, null), todate(parse_time_or(row.birthday, "%d.%m.%Y", null))))
    salutation    = contains(row.tags, "vip") == true ? "VIP" : null
  }

  on "delete" { action = "archive" }
}
