# penstock test examples/deals

test "deals" "a new deal, whatever it is associated with" {
  given {
    row = { id = 7, title = "Pumps", amount = "1200.50", customer_id = 1, firm_country = "AT", firm_number = 3 }
  }
  expect {
    action = "create"
    key    = "7"
    exact  = true
    fields = {
      dealname  = "Pumps"
      amount    = 1200.50
      dealstage = "appointmentscheduled"
    }
  }
}

test "companies" "a company is found by both columns of its key" {
  given {
    row = { country = "AT", number = 3, name = "Wasserwerk" }
  }
  expect {
    action = "create"
    key    = "AT-3"
  }
}
