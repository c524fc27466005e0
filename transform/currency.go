package transform

import "strings"

// currencies has the codes of ISO 4217 by the digits of their minor unit.
var currencies = func() map[string]int32 {
	byDigits := map[int32]string{
		0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
		2: "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
		3: "BHD IQD JOD KWD LYD OMR TND",
		4: "CLF UYW",
	}
	all := map[string]int32{}
	for digits, codes := range byDigits {
		for _, c := range strings.Fields(codes) {
			all[c] = digits
		}
	}
	return all
}()

// currencyDigits returns the digits of a currency's minor unit; the code in any case.
func currencyDigits(code string) (int32, bool) {
	if d, ok := currencies[code]; ok {
		return d, true
	}
	d, ok := currencies[strings.ToUpper(code)]
	return d, ok
}
