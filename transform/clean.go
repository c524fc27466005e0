package transform

var cleaningFunctions = []*function{
	{
		name: "email_normalize", params: []param{{name: "text", types: textType}}, result: returns(text), fails: []string{"bad_email"},
		call: func(w *Worker, a []value) value {
			if s, _, ok := w.normalEmail(a[0].s); ok {
				return ofText(s)
			}
			return fail("bad_email")
		},
		doc: "The e-mail address trimmed and in lower case, its domain in ASCII (IDNA). RFC 5321's limits and RFC 5322's dot-atom; refused besides: quoted local parts, comments, address literals, domains without a dot, local parts outside ASCII.", examples: [][2]string{{`email_normalize(" Ada@Bücher.example ")`, `"ada@xn--bcher-kva.example"`}, {`email_normalize_or("nobody", null)`, `null`}},
	},
	{
		name: "is_email", params: []param{{name: "text", types: textType}}, result: returns(boolean),
		call: func(w *Worker, a []value) value {
			_, _, ok := w.normalEmail(a[0].s)
			return ofBool(ok)
		},
		doc: "Whether email_normalize would take it.", examples: [][2]string{{`is_email("a@b.example")`, `true`}, {`is_email("a@")`, `false`}},
	},
	{
		name: "email_domain", params: []param{{name: "text", types: textType}}, result: returns(text), fails: []string{"bad_email"},
		call: func(w *Worker, a []value) value {
			s, at, ok := w.normalEmail(a[0].s)
			if !ok {
				return fail("bad_email")
			}
			return ofText(s[at+1:])
		},
		doc: "The domain of the address, normalised.", examples: [][2]string{{`email_domain("Ada@Example.COM")`, `"example.com"`}},
	},
	{
		name: "phone_e164", params: []param{{name: "text", types: textType}, {name: "country", types: textType}}, optional: 1, result: returns(text), fails: []string{"bad_phone"},
		call: func(w *Worker, a []value) value {
			country := ""
			if len(a) > 1 {
				country = a[1].s
			}
			if s, ok := w.phone(a[0].s, country); ok {
				return ofText(s)
			}
			return fail("bad_phone")
		},
		doc: "The phone number in E.164's form, if libphonenumber knows it as valid. `country` (ISO 3166, two letters) is where numbers without `+` are dialled; without it such numbers are refused. Extensions are dropped.", examples: [][2]string{{`phone_e164("(415) 555-2671", "US")`, `"+14155552671"`}, {`phone_e164_or("12", "US", null)`, `null`}},
	},
	{
		name: "country_code", params: []param{{name: "text", types: textType}}, result: returns(text), fails: []string{"bad_country"},
		call: func(w *Worker, a []value) value {
			if code, ok := w.country(a[0].s); ok {
				return ofText(code)
			}
			return fail("bad_country")
		},
		doc: "The two letters of ISO 3166 for a country given by its two or three letters or its English name, in any case; some common other names are known.", examples: [][2]string{{`country_code("germany")`, `"DE"`}, {`country_code("USA")`, `"US"`}},
	},
	{
		name: "is_phone", params: []param{{name: "text", types: textType}, {name: "country", types: textType}}, optional: 1, result: returns(boolean),
		call: func(w *Worker, a []value) value {
			country := ""
			if len(a) > 1 {
				country = a[1].s
			}
			_, ok := w.phone(a[0].s, country)
			return ofBool(ok)
		},
		doc: "Whether phone_e164 would take it.", examples: [][2]string{{`is_phone("+1 415 555 2671")`, `true`}, {`is_phone("12", "US")`, `false`}},
	},
	{
		name: "country_name", params: []param{{name: "text", types: textType}}, result: returns(text), fails: []string{"bad_country"},
		call: func(w *Worker, a []value) value {
			if code, ok := w.country(a[0].s); ok {
				return ofText(countryEnglish[code])
			}
			return fail("bad_country")
		},
		doc: "The English name in common use of a country that country_code would know.", examples: [][2]string{{`country_name("de")`, `"Germany"`}, {`country_name("Holland")`, `"Netherlands"`}},
	},
	{
		name: "postcode", params: []param{{name: "text", types: textType}, {name: "country", types: textType}}, result: returns(text), fails: []string{"bad_postcode", "bad_country"},
		call: func(w *Worker, a []value) value {
			country, ok := w.country(a[1].s)
			if !ok {
				return fail("bad_country")
			}
			if s, ok := postcode(a[0].s, country); ok {
				return ofText(s)
			}
			return fail("bad_postcode")
		},
		doc: "The postal code as the country's post writes it: capitals, its spaces and hyphens, no `D-` in front. Forms from the Universal Postal Union's addressing sheets; whether the code is in use is not looked up. Of countries whose form is not known here: letters, digits, spaces and hyphens, 12 at most.", examples: [][2]string{{`postcode("sw1a1aa", "GB")`, `"SW1A 1AA"`}, {`postcode("D-10115", "DE")`, `"10115"`}, {`postcode_or("1011", "DE", null)`, `null`}},
	},
	{
		name: "person_name", params: []param{{name: "text", types: textType}}, result: returns(text),
		call: func(w *Worker, a []value) value { return ofText(w.personName(a[0].s)) },
		doc:  "A person's name as people write theirs: white space collapsed, `KING, ADA` turned round, a name that is all capitals or all small in title case with small particles (van, de), `McDonald` and `III`. A name in mixed case keeps its letters.", examples: [][2]string{{`person_name("KING,  ADA")`, `"Ada King"`}, {`person_name("ludwig van beethoven iii")`, `"Ludwig van Beethoven III"`}},
	},
	{
		name: "url_normalize", params: []param{{name: "text", types: textType}}, result: returns(text), fails: []string{"bad_url"},
		call: func(_ *Worker, a []value) value {
			if s, ok := normalURL(a[0].s); ok {
				return ofText(s)
			}
			return fail("bad_url")
		},
		doc: "The http or https address in the normal form of RFC 3986 (sections 6.2.2 and 6.2.3): scheme and host in lower case, the host in ASCII (IDNA), no default port, no dot segments, no fragment; `https://` where there is no scheme. Refused: other schemes, user names, hosts without a dot.", examples: [][2]string{{`url_normalize("Example.COM/a/../b")`, `"https://example.com/b"`}, {`url_normalize("HTTP://Bücher.example:80")`, `"http://xn--bcher-kva.example/"`}},
	},
	{
		name: "vat_id", params: []param{{name: "text", types: textType}, {name: "country", types: textType}}, optional: 1, result: returns(text), fails: []string{"bad_vat"},
		call: func(w *Worker, a []value) value {
			country := ""
			if len(a) > 1 {
				if country, _ = w.country(a[1].s); country == "" {
					country = a[1].s
				}
			}
			if s, ok := vatNumber(a[0].s, country); ok {
				return ofText(s)
			}
			return fail("bad_vat")
		},
		doc: "A VAT identification number of the EU (and of `XI` and `GB`) in the form of VIES: prefix, number, no blanks. Its form and check digits are checked as the member state makes them, not whether it was given to somebody. `country` is used where the number has no prefix.", examples: [][2]string{{`vat_id("de 136.695.976")`, `"DE136695976"`}, {`vat_id("U13585627", "AT")`, `"ATU13585627"`}, {`vat_id_or("DE123", null)`, `null`}},
	},
	{
		name: "iban", params: []param{{name: "text", types: textType}}, result: returns(text), fails: []string{"bad_iban"},
		call: func(_ *Worker, a []value) value {
			if s, ok := iban(a[0].s); ok {
				return ofText(s)
			}
			return fail("bad_iban")
		},
		doc: "An IBAN (ISO 13616) in its electronic form, without blanks: the country's length and the check digits (mod 97) are checked.", examples: [][2]string{{`iban("gb82 west 1234 5698 7654 32")`, `"GB82WEST12345698765432"`}, {`iban_or("GB82", null)`, `null`}},
	},
}
