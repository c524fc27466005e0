# LIST_KEY=any penstock test examples/newsletter-webhook

test "members" "confirmed" {
  given {
    row = { id = 7, email = " Ada@Example.com", language = "DE", interests = ["News", " sales ", "news", ""], confirmed_at = "2026-03-04T23:30:00Z" }
  }
  expect {
    action = "create"
    key    = "7"
    fields = { email = "ada@example.com", domain = "example.com", language = "de", interests = ["news", "sales"], since = "2026-03-05" }
  }
}

test "members" "not confirmed yet, or gone again" {
  for_each = [{ confirmed = null, gone = null }, { confirmed = "2026-03-04T12:00:00Z", gone = "2026-03-05T12:00:00Z" }]
  given  { row = { id = 8, email = "a@example.com", interests = [], confirmed_at = each.value.confirmed, unsubscribed_at = each.value.gone } }
  expect { action = "filter" }
}

test "members" "unsubscribed" {
  given {
    base = { email = "a@example.com" }
    row  = { id = 8, email = "a@example.com", interests = [], confirmed_at = "2026-03-04T12:00:00Z", unsubscribed_at = "2026-03-05T12:00:00Z" }
  }
  expect { action = "delete" }
}

test "members" "role addresses" {
  for_each = ["abuse@example.com", "No-Reply@example.com", "noreply@example.com"]
  given  { row = { id = 9, email = each.value, interests = [], confirmed_at = "2026-03-04T12:00:00Z" } }
  expect { reject = "role_address" }
}

test "members" "bad addresses" {
  given  { row = { id = 9, email = "nobody", interests = [], confirmed_at = "2026-03-04T12:00:00Z" } }
  expect { reject = "bad_email" }
}
