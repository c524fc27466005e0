where = row.id # E0318: must be a bool, but this is int
clean {
  a = row.id + "1" # E0310: no implicit conversion
  b = row.email + row.phone # E0310: Join text with a template
  c = row.id == row.email # E0310: use tostring()
  d = row.is_test ? 1 : "x" # E0311: int where the condition is true and text
  e = lower(row.id) # E0312: Use tostring().
  f = lower() # E0313: lower(text)
  g = substr_or(row.email, 1, 2, "x") # E0304: never fails
  h = regex_match(row.email, row.phone) # E0314: must be known before
  i = regex_match(row.email, "(") # E0315: the pattern is wrong
  j = row.created_at < row.updated_at # E0310: to_tz
  k = row.born == row.created_at # E0310: todate()
  l = !row.id # E0318: operand of !
  m = -row.email # E0310: needs a number
  n = "${row.tags}" # E0310: use join()
  o = [1, "a"] # E0311: one type
  p = toint_or(row.email, "x") # E0311: fallback is text
  q = major(row.mrr_cents, "EURO") # E0315: ISO 4217
  r = to_tz(row.created_at, "Berlin") # E0315: IANA
  s = parse_time(row.email, "%Q") # E0315: strftime
  t = date_trunc("moth", row.born) # E0315: Did you mean "month"?
  u = max(row.id, row.email) # E0311: int and text
  v = unix_seconds(row.updated_at) # E0312: to_tz
  w = row.every < row.every # E0310: interval
  x = row.id && true # E0318: operand of &&
  y = 1.00000000000000000000000000000000001 # E0319: at most 34 digits
  z = json_get(row.data, "a..b") # E0315: empty name
  aa = phone_e164_or(row.phone) # E0313: phone_e164_or(text, [country], fallback)
  bb = lower(row.tags...) # E0306: expanded only
  cc = { a = 1 }.b # E0307: has no "b"
  dd = row.email[*] # E0310: goes through a list
}
reject "all" { # uses them all
  when = [clean.a, clean.b, clean.c, clean.d, clean.e, clean.f, clean.g, clean.h, clean.i, clean.j, clean.k, clean.l, clean.m, clean.n, clean.o, clean.p, clean.q, clean.r, clean.s, clean.t, clean.u, clean.v, clean.w, clean.x, clean.y, clean.z, clean.aa, clean.bb, clean.cc, clean.dd] == null
  message = row.id # E0310: A message is text
}
key { shop_customer_id = row.id } # E0328: Use tostring().
