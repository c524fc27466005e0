where = row.balance > 5 # W0301: counts as false where it is NULL
clean {
  a      = clean.b
  b      = clean.a # E0317: clean.a is computed
  unused = row.email # W0302: Nothing uses clean.unused
}
reject "never" { when = row.last_name == null } # W0303: never NULL
reject "label" { when = row.plan == "por" } # W0303: Did you mean "pro"?
reject "always" { when = 1 == 1 } # W0303: does not depend on the row
reject "never" { when = row.is_test } # E0331: is defined already W0301: counts as false
reject "cycle" { when = clean.a == null }
key { lastname = row.email } # W0304: null_key E0329: not unique
match { phone = row.tags } # E0330: one simple value
fields "source" { # E0332 is told at the pipeline
  jobtitle = row.last_name # W0306: up to 80
}
