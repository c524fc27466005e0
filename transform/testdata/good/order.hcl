# cleans may use each other in any order
clean {
  full  = concat_ws(" ", clean.first, row.last_name)
  first = title_case(nonempty(row.first_name))
}
key { shop_customer_id = "c-${row.id}" }
fields "source" {
  firstname = clean.full
  lastname = <<-EOT
    ${row.last_name}
    of ${coalesce(row.country, "nowhere")}
  EOT
  since = to_tz(row.updated_at, "Europe/Berlin")
  mrr   = (row.balance + 1.5) * local.rate - -row.mrr_cents % 7
}
