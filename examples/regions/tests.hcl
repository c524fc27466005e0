# penstock test examples/regions

test "customers.dach" "numbers are dialled from Germany" {
  given {
    row = { id = 1, email = " Ada@Example.com", first_name = "ada", last_name = "king", phone = "030 1234567", country = "DE", mrr_cents = 1050 }
  }
  expect {
    action = "create"
    key    = "1"
    fields = { email = "ada@example.com", firstname = "Ada King", phone = "+49301234567", shop_mrr = 10.50 }
  }
}

test "customers.us" "numbers are dialled from the United States" {
  given {
    row = { id = 2, email = "grace@example.com", phone = "(415) 555-2671", country = "US", mrr_cents = 100 }
  }
  expect { fields = { phone = "+14155552671" } }
}

test "customers.us" "other regions are not ours" {
  for_each = ["DE", "AT", null]
  given  { row = { id = 3, email = "ada@example.com", country = each.value } }
  expect { action = "filter" }
}

test "customers.dach" "bad addresses are rejected" {
  given  { row = { id = 4, email = "nobody", country = "AT" } }
  expect { reject = "no_email" }
}
