package transform

import (
	"strings"
	"unicode"
)

// countryTable has ISO 3166-1: two letters, three letters, the English name in common use.
const countryTable = `
AD AND Andorra
AE ARE United Arab Emirates
AF AFG Afghanistan
AG ATG Antigua and Barbuda
AI AIA Anguilla
AL ALB Albania
AM ARM Armenia
AO AGO Angola
AQ ATA Antarctica
AR ARG Argentina
AS ASM American Samoa
AT AUT Austria
AU AUS Australia
AW ABW Aruba
AX ALA Åland Islands
AZ AZE Azerbaijan
BA BIH Bosnia and Herzegovina
BB BRB Barbados
BD BGD Bangladesh
BE BEL Belgium
BF BFA Burkina Faso
BG BGR Bulgaria
BH BHR Bahrain
BI BDI Burundi
BJ BEN Benin
BL BLM Saint Barthélemy
BM BMU Bermuda
BN BRN Brunei
BO BOL Bolivia
BQ BES Caribbean Netherlands
BR BRA Brazil
BS BHS Bahamas
BT BTN Bhutan
BV BVT Bouvet Island
BW BWA Botswana
BY BLR Belarus
BZ BLZ Belize
CA CAN Canada
CC CCK Cocos Islands
CD COD Democratic Republic of the Congo
CF CAF Central African Republic
CG COG Republic of the Congo
CH CHE Switzerland
CI CIV Côte d'Ivoire
CK COK Cook Islands
CL CHL Chile
CM CMR Cameroon
CN CHN China
CO COL Colombia
CR CRI Costa Rica
CU CUB Cuba
CV CPV Cape Verde
CW CUW Curaçao
CX CXR Christmas Island
CY CYP Cyprus
CZ CZE Czechia
DE DEU Germany
DJ DJI Djibouti
DK DNK Denmark
DM DMA Dominica
DO DOM Dominican Republic
DZ DZA Algeria
EC ECU Ecuador
EE EST Estonia
EG EGY Egypt
EH ESH Western Sahara
ER ERI Eritrea
ES ESP Spain
ET ETH Ethiopia
FI FIN Finland
FJ FJI Fiji
FK FLK Falkland Islands
FM FSM Micronesia
FO FRO Faroe Islands
FR FRA France
GA GAB Gabon
GB GBR United Kingdom
GD GRD Grenada
GE GEO Georgia
GF GUF French Guiana
GG GGY Guernsey
GH GHA Ghana
GI GIB Gibraltar
GL GRL Greenland
GM GMB Gambia
GN GIN Guinea
GP GLP Guadeloupe
GQ GNQ Equatorial Guinea
GR GRC Greece
GS SGS South Georgia and South Sandwich Islands
GT GTM Guatemala
GU GUM Guam
GW GNB Guinea-Bissau
GY GUY Guyana
HK HKG Hong Kong
HM HMD Heard and McDonald Islands
HN HND Honduras
HR HRV Croatia
HT HTI Haiti
HU HUN Hungary
ID IDN Indonesia
IE IRL Ireland
IL ISR Israel
IM IMN Isle of Man
IN IND India
IO IOT British Indian Ocean Territory
IQ IRQ Iraq
IR IRN Iran
IS ISL Iceland
IT ITA Italy
JE JEY Jersey
JM JAM Jamaica
JO JOR Jordan
JP JPN Japan
KE KEN Kenya
KG KGZ Kyrgyzstan
KH KHM Cambodia
KI KIR Kiribati
KM COM Comoros
KN KNA Saint Kitts and Nevis
KP PRK North Korea
KR KOR South Korea
KW KWT Kuwait
KY CYM Cayman Islands
KZ KAZ Kazakhstan
LA LAO Laos
LB LBN Lebanon
LC LCA Saint Lucia
LI LIE Liechtenstein
LK LKA Sri Lanka
LR LBR Liberia
LS LSO Lesotho
LT LTU Lithuania
LU LUX Luxembourg
LV LVA Latvia
LY LBY Libya
MA MAR Morocco
MC MCO Monaco
MD MDA Moldova
ME MNE Montenegro
MF MAF Saint Martin
MG MDG Madagascar
MH MHL Marshall Islands
MK MKD North Macedonia
ML MLI Mali
MM MMR Myanmar
MN MNG Mongolia
MO MAC Macao
MP MNP Northern Mariana Islands
MQ MTQ Martinique
MR MRT Mauritania
MS MSR Montserrat
MT MLT Malta
MU MUS Mauritius
MV MDV Maldives
MW MWI Malawi
MX MEX Mexico
MY MYS Malaysia
MZ MOZ Mozambique
NA NAM Namibia
NC NCL New Caledonia
NE NER Niger
NF NFK Norfolk Island
NG NGA Nigeria
NI NIC Nicaragua
NL NLD Netherlands
NO NOR Norway
NP NPL Nepal
NR NRU Nauru
NU NIU Niue
NZ NZL New Zealand
OM OMN Oman
PA PAN Panama
PE PER Peru
PF PYF French Polynesia
PG PNG Papua New Guinea
PH PHL Philippines
PK PAK Pakistan
PL POL Poland
PM SPM Saint Pierre and Miquelon
PN PCN Pitcairn Islands
PR PRI Puerto Rico
PS PSE Palestinian Territories
PT PRT Portugal
PW PLW Palau
PY PRY Paraguay
QA QAT Qatar
RE REU Réunion
RO ROU Romania
RS SRB Serbia
RU RUS Russia
RW RWA Rwanda
SA SAU Saudi Arabia
SB SLB Solomon Islands
SC SYC Seychelles
SD SDN Sudan
SE SWE Sweden
SG SGP Singapore
SH SHN Saint Helena
SI SVN Slovenia
SJ SJM Svalbard and Jan Mayen
SK SVK Slovakia
SL SLE Sierra Leone
SM SMR San Marino
SN SEN Senegal
SO SOM Somalia
SR SUR Suriname
SS SSD South Sudan
ST STP São Tomé and Príncipe
SV SLV El Salvador
SX SXM Sint Maarten
SY SYR Syria
SZ SWZ Eswatini
TC TCA Turks and Caicos Islands
TD TCD Chad
TF ATF French Southern Territories
TG TGO Togo
TH THA Thailand
TJ TJK Tajikistan
TK TKL Tokelau
TL TLS Timor-Leste
TM TKM Turkmenistan
TN TUN Tunisia
TO TON Tonga
TR TUR Türkiye
TT TTO Trinidad and Tobago
TV TUV Tuvalu
TW TWN Taiwan
TZ TZA Tanzania
UA UKR Ukraine
UG UGA Uganda
UM UMI U.S. Outlying Islands
US USA United States
UY URY Uruguay
UZ UZB Uzbekistan
VA VAT Vatican City
VC VCT Saint Vincent and Grenadines
VE VEN Venezuela
VG VGB British Virgin Islands
VI VIR U.S. Virgin Islands
VN VNM Vietnam
VU VUT Vanuatu
WF WLF Wallis and Futuna
WS WSM Samoa
YE YEM Yemen
YT MYT Mayotte
ZA ZAF South Africa
ZM ZMB Zambia
ZW ZWE Zimbabwe
`

// countryNames has other names that people write.
const countryNames = `
AE UAE
AE Emirates
BA Bosnia
BO Plurinational State of Bolivia
BN Brunei Darussalam
CD Congo Kinshasa
CD DR Congo
CG Congo
CG Congo Brazzaville
CH Schweiz
CH Suisse
CI Cote d'Ivoire
CI Ivory Coast
CN People's Republic of China
CV Cabo Verde
CW Curacao
CZ Czech Republic
DE Deutschland
DE Federal Republic of Germany
ES España
FM Federated States of Micronesia
GB Great Britain
GB UK
GB England
GB Scotland
GB Wales
GB Northern Ireland
GB United Kingdom of Great Britain and Northern Ireland
HK Hong Kong SAR China
IR Islamic Republic of Iran
IT Italia
KP Democratic People's Republic of Korea
KR Korea
KR Republic of Korea
LA Lao People's Democratic Republic
MD Republic of Moldova
MK Macedonia
MM Burma
MO Macau
NL Holland
NL The Netherlands
NL Nederland
AT Österreich
PS Palestine
PS State of Palestine
RE Reunion
RU Russian Federation
ST Sao Tome and Principe
SY Syrian Arab Republic
SZ Swaziland
TL East Timor
TR Turkey
TR Turkiye
TW Republic of China
TZ United Republic of Tanzania
US United States of America
US U.S.
US U.S.A.
VA Holy See
VA Vatican
VE Bolivarian Republic of Venezuela
VN Viet Nam
`

// countries finds a country's two letters by what countryKey makes of a code or name.
var countries = func() map[string]string {
	all := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(countryTable), "\n") {
		two, rest, _ := strings.Cut(line, " ")
		three, name, _ := strings.Cut(rest, " ")
		for _, n := range []string{two, three, name} {
			all[string(countryKey(nil, n))] = two
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(countryNames), "\n") {
		two, name, _ := strings.Cut(line, " ")
		all[string(countryKey(nil, name))] = two
	}
	return all
}()

// countryEnglish has the English name by two letters.
var countryEnglish = func() map[string]string {
	all := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(countryTable), "\n") {
		_, name, _ := strings.Cut(line[3:], " ")
		all[line[:2]] = name
	}
	return all
}()

// countryKey brings a name to lower case, letters and single spaces; & is and, st is saint.
func countryKey(dst []byte, s string) []byte {
	start, word := len(dst), len(dst)
	endWord := func() {
		switch string(dst[word:]) {
		case "st":
			dst = append(dst[:word], "saint"...)
		}
	}
	for _, r := range s {
		switch {
		case unicode.IsLetter(r):
			dst = append(dst, string(unicode.ToLower(r))...)
		case r == '.' || isApostrophe(r):
		case r == '&':
			if len(dst) > start && dst[len(dst)-1] != ' ' {
				dst = append(dst, ' ')
			}
			dst = append(dst, "and "...)
		default:
			endWord()
			if len(dst) > start && dst[len(dst)-1] != ' ' {
				dst = append(dst, ' ')
			}
			word = len(dst)
		}
	}
	endWord()
	for len(dst) > start && dst[len(dst)-1] == ' ' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// country returns the two letters of a country.
func (w *Worker) country(s string) (string, bool) {
	start := len(w.buf)
	w.buf = countryKey(w.buf, s)
	code, ok := countries[string(w.buf[start:])]
	w.buf = w.buf[:start]
	return code, ok
}
