# penstock test examples/companies-from-mysql

test "companies" "an account" {
  given {
    row = { id = 12, name = "  Müller   GmbH ", website = "http://WWW.mueller.example/shop", vat_id = "DE 136 695 976", country = "DE", city = "KÖLN", plan = "pro", seats = 8, used_seats = 6, yearly = "1199.50" }
  }
  expect {
    action = "create"
    key    = "12"
    fields = {
      name        = "Müller GmbH", domain = "mueller.example", website = "http://www.mueller.example/shop", country = "Germany", city = "Köln", annualrevenue = 1200
      description = "Professional, 6 of 8 seats (75 %)\n"
    }
  }
}

test "companies" "enterprise needs a VAT number" {
  for_each = [null, "", "DE123456789", "FR 12 345"]
  given  { row = { id = 13, name = "A", vat_id = each.value, country = "DE", plan = "enterprise", seats = 1, used_seats = 0 } }
  expect { reject = "enterprise_without_vat" }
}

test "companies" "no seats are no division by zero" {
  given  { row = { id = 14, name = "A", plan = "free", seats = 0, used_seats = 0 } }
  expect { fields = { description = "Self-service, 0 of 0 seats\n", domain = null } }
}

test "companies" "a closed account says so" {
  given {
    base = { name = "A", description = "Professional, 6 of 8 seats (75 %)\n" }
    row  = { id = 15, name = "A", plan = "pro", seats = 8, used_seats = 6, closed_at = "2026-03-01 00:00:00" }
  }
  expect {
    action = "set"
    fields = { description = "Closed" }
  }
}
