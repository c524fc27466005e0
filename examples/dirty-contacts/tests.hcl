# penstock test examples/dirty-contacts

test "people" "a row as it is found" {
  given {
    row = {
      id      = 1, name = "  KING,   ADA ", email = " Ada@Bücher.example ", phone = "(030) 901820", website = "HTTPS://Example.com:443/a/../b", postcode = "d-10117",
      country = "Deutschland", notes = "<p>Runs the <b>engine</b> &amp; everything around it, since 1843</p>", tags = ["vip"], birthday = "10.12.1815"
    }
  }
  expect {
    action = "create"
    key    = "1"
    match  = "ada@xn--bcher-kva.example"
    fields = {
      email = "ada@xn--bcher-kva.example", firstname = "Ada", lastname = "King", phone = "+4930901820", website = "https://example.com/b", zip = "10117", country = "Germany", jobtitle = "Runs the engine & everything around it,…"
    }
  }
}

test "people" "what says nothing is nothing" {
  for_each = ["", " - ", "N/A", "unknown", null]
  given  { row = { id = 2, name = each.value, email = "b@example.com", phone = each.value, notes = each.value, country = each.value } }
  expect { fields = { firstname = null, lastname = null, phone = null, jobtitle = null, country = null } }
}

test "people" "a name in one word" {
  given  { row = { id = 3, name = "plato", email = "p@example.com" } }
  expect { fields = { firstname = "Plato", lastname = null } }
}

test "people" "unreachable" {
  for_each = [{ email = "nobody", phone = "12" }, { email = null, phone = null }, { email = "a@", phone = "x" }]
  given { row = { id = 4, email = each.value.email, phone = each.value.phone } }
  expect {
    reject  = "unreachable"
    message = "person 4 has neither a usable address nor a usable number"
  }
}

test "people" "a number alone will do" {
  given { row = { id = 5, email = "nobody", phone = "+1 415 555 2671" } }
  expect {
    reject = null
    fields = { phone = "+14155552671" }
  }
}

test "people" "a bad website leaves what the CRM has" {
  given {
    base = { email = "a@example.com", website = "https://example.com/" }
    row  = { id = 6, email = "a@example.com", website = "http://", name = "A" }
  }
  assert {
    condition = !contains(result.written, "website")
    message   = "the website was written"
  }
}
