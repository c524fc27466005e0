# penstock test examples/customers-to-crm

test "customers_to_crm" "a new customer becomes a lead" {
  given {
    row = {
      id         = 1
      email      = " Ada@Example.com"
      first_name = "ada"
      last_name  = "LOVELACE"
      phone      = "030 1234567"
      country    = "DE"
      mrr_cents  = 1050
      is_test    = false
    }
  }
  expect {
    action = "create"
    key    = "1"
    exact  = true
    fields = {
      email          = "ada@example.com"
      firstname      = "Ada"
      lastname       = "Lovelace"
      phone          = "+49301234567"
      shop_mrr       = 10.50
      lifecyclestage = "lead"
    }
  }
}

test "customers_to_crm" "bad addresses are rejected" {
  for_each = ["", "nobody", "a@", null]
  given {
    row = { id = 1, email = each.value, is_test = false }
  }
  expect {
    reject  = "no_email"
    message = "customer 1 has no usable e-mail"
  }
}

test "customers_to_crm" "a change sends what changed, and not what the sales team owns" {
  given {
    base = { email = "ada@example.com", firstname = "Ada", lastname = "Lovelace", lifecyclestage = "lead" }
    row  = { id = 1, email = "ada@example.org", first_name = "Ada", last_name = "Lovelace", is_test = false }
  }
  expect {
    action = "change"
    exact  = true
    fields = { email = "ada@example.org" }
  }
}

test "customers_to_crm" "a contact that was there before is taken over by its address" {
  given {
    app = { email = "ada@example.com", lifecyclestage = "customer" }
    row = { id = 1, email = "ada@example.com", is_test = false }
  }
  expect { action = "adopt" }
  assert {
    condition = !contains(result.written, "lifecyclestage")
    message   = "the stage is the sales team's"
  }
}

test "customers_to_crm" "who leaves is archived, who never came is not" {
  for_each = {
    deleted       = { op = "delete", base = { email = "ada@example.com" }, deleted_at = null, action = "archive" }
    marked        = { op = "update", base = { email = "ada@example.com" }, deleted_at = "2026-03-04T00:00:00Z", action = "archive" }
    never_in_app  = { op = "delete", base = null, deleted_at = null, action = "none" }
    marked_before = { op = "create", base = null, deleted_at = "2026-03-04T00:00:00Z", action = "filter" }
  }
  given {
    op   = each.value.op
    base = each.value.base
    row  = { id = 1, email = "ada@example.com", is_test = false, deleted_at = each.value.deleted_at }
  }
  expect { action = each.value.action }
}
