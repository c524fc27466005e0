package hubspot

// standardTypes are the objects of an account with nothing of its own: the default
// properties that penstock's users write most, not all several hundred of them.
func standardTypes() []*objectType {
	stages := enumeration("lifecyclestage", "Lifecycle Stage", "radio",
		"subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", "evangelist", "other")
	contacts := []*property{
		text("email", "Email"), text("firstname", "First Name"), text("lastname", "Last Name"),
		text("salutation", "Salutation"), phone("phone", "Phone Number"), phone("mobilephone", "Mobile Phone Number"),
		phone("fax", "Fax Number"), text("jobtitle", "Job Title"), text("company", "Company Name"),
		text("website", "Website URL"), text("address", "Street Address"), text("city", "City"),
		text("state", "State/Region"), text("zip", "Postal Code"), text("country", "Country/Region"),
		text("industry", "Industry"), text("message", "Message"), text("annualrevenue", "Annual Revenue"),
		text("date_of_birth", "Date of birth"), text("gender", "Gender"), text("work_email", "Work email"),
		of("closedate", "Close Date", "datetime"),
		of("total_revenue", "Total Revenue", "number"),
		stages,
		enumeration("hs_lead_status", "Lead Status", "radio",
			"NEW", "OPEN", "IN_PROGRESS", "OPEN_DEAL", "UNQUALIFIED", "ATTEMPTED_TO_CONTACT", "CONNECTED", "BAD_TIMING"),
		enumeration("numemployees", "Number of Employees", "select", "1-5", "5-25", "25-50", "50-100", "100-500", "500-1000", "1000+"),
		owner(),
		readOnly(of("createdate", "Create Date", "datetime")), readOnly(of("lastmodifieddate", "Last Modified Date", "datetime")),
		readOnly(of("hs_object_id", "Record ID", "number")), readOnly(text("hs_additional_emails", "Additional email addresses")),
		readOnly(text("hs_merged_object_ids", "Merged record IDs")),
	}
	companies := []*property{
		text("name", "Company name"), text("domain", "Company Domain Name"), text("website", "Website URL"),
		phone("phone", "Phone Number"), text("address", "Street Address"), text("address2", "Street Address 2"),
		text("city", "City"), text("state", "State/Region"), text("zip", "Postal Code"), text("country", "Country/Region"),
		text("description", "Description"), text("industry", "Industry"),
		of("numberofemployees", "Number of Employees", "number"), of("annualrevenue", "Annual Revenue", "number"),
		enumeration("lifecyclestage", "Lifecycle Stage", "radio",
			"subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", "evangelist", "other"),
		owner(),
		readOnly(of("createdate", "Create Date", "datetime")), readOnly(of("hs_lastmodifieddate", "Last Modified Date", "datetime")),
		readOnly(of("hs_object_id", "Record ID", "number")), readOnly(text("hs_merged_object_ids", "Merged record IDs")),
	}
	deals := []*property{
		text("dealname", "Deal Name"), of("amount", "Amount", "number"), of("closedate", "Close Date", "datetime"),
		enumeration("pipeline", "Pipeline", "select", "default"),
		enumeration("dealstage", "Deal Stage", "radio", "appointmentscheduled", "qualifiedtobuy", "presentationscheduled",
			"decisionmakerboughtin", "contractsent", "closedwon", "closedlost"),
		enumeration("dealtype", "Deal Type", "radio", "newbusiness", "existingbusiness"),
		text("description", "Deal Description"), owner(),
		readOnly(of("createdate", "Create Date", "datetime")), readOnly(of("hs_lastmodifieddate", "Last Modified Date", "datetime")),
		readOnly(of("hs_object_id", "Record ID", "number")), readOnly(text("hs_merged_object_ids", "Merged record IDs")),
	}
	return []*objectType{
		newObjectType("contacts", "contact", "Contact", "0-1", "email", contacts,
			[]string{"createdate", "hs_object_id", "lastmodifieddate"},
			[]string{"createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"}),
		newObjectType("companies", "company", "Company", "0-2", "", companies,
			[]string{"createdate", "hs_lastmodifieddate", "hs_object_id"},
			[]string{"createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"}),
		newObjectType("deals", "deal", "Deal", "0-3", "", deals,
			[]string{"createdate", "hs_lastmodifieddate", "hs_object_id"},
			[]string{"amount", "closedate", "createdate", "dealname", "dealstage", "hs_lastmodifieddate", "hs_object_id", "pipeline"}),
	}
}

func of(name, label, kind string) *property {
	form := map[string]string{"string": "text", "number": "number", "datetime": "date", "date": "date"}[kind]
	return &property{
		Name: name, Label: label, Type: kind, FieldType: form, GroupName: "information", Options: []option{},
		HubspotDefined: true, FormField: true, Modification: modification{ReadOnlyDefinition: true},
	}
}

func text(name, label string) *property { return of(name, label, "string") }

func phone(name, label string) *property {
	p := text(name, label)
	p.FieldType = "phonenumber"
	return p
}

func enumeration(name, label, form string, values ...string) *property {
	p := of(name, label, "enumeration")
	p.FieldType = form
	for i, v := range values {
		p.Options = append(p.Options, option{Label: v, Value: v, DisplayOrder: i})
	}
	return p
}

// owner takes any number: owners are not simulated, so their options are external.
func owner() *property {
	p := of("hubspot_owner_id", "Owner", "enumeration")
	p.FieldType, p.ExternalOptions = "select", true
	return p
}

func readOnly(p *property) *property {
	p.Modification.ReadOnlyValue, p.FormField = true, false
	return p
}
