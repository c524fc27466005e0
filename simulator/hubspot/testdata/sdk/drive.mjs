// Drives the simulator with HubSpot's own Node SDK: what the SDK sends must be taken, and what the simulator answers
// must be decoded by the SDK's types. Usage: node drive.mjs BASE_URL
import assert from "node:assert/strict";
import { Client } from "@hubspot/api-client";

const client = new Client({ accessToken: "pat-na1-sdk", basePath: process.argv[2], numberOfApiCallRetries: 0 });
const { contacts, companies, deals, properties, schemas, associations } = client.crm;

// Properties.
await properties.coreApi.create("contacts", {
  name: "shop_id", label: "Shop id", type: "string", fieldType: "text", groupName: "contactinformation", hasUniqueValue: true,
});
const listed = await properties.coreApi.getAll("contacts");
assert.equal(listed.results.find((p) => p.name === "shop_id").hasUniqueValue, true);

// Upsert: new ones, then one known and one new.
const input = (id, props) => ({ id, idProperty: "shop_id", objectWriteTraceId: `trace-${id}`, properties: props });
const first = await contacts.batchApi.upsert({ inputs: [input("1", { email: "Ada@Example.com" }), input("2", { email: "bob@example.com" })] });
assert.equal(first.status, "COMPLETE");
assert.deepEqual(first.results.map((r) => r._new), [true, true]);
assert.equal(first.results[0].properties.email, "ada@example.com");
assert.ok(first.results[0].createdAt instanceof Date);
const second = await contacts.batchApi.upsert({ inputs: [input("1", { firstname: "Ada" }), input("3", {})] });
assert.deepEqual(second.results.map((r) => r._new), [false, true]);

// In part.
const mixed = await contacts.batchApi.upsert({ inputs: [input("4", {}), input("5", { email: "nobody" })] });
assert.equal(mixed.numErrors, 1);
assert.equal(mixed.results.length, 1);
assert.deepEqual(mixed.errors[0].context.objectWriteTraceId, ["trace-5"]);

// Whole refusal.
await assert.rejects(
  contacts.batchApi.create({ inputs: [{ properties: { no_such: "x" }, associations: [] }] }),
  (e) => e.code === 400 && e.body.category === "VALIDATION_ERROR",
);

// Read, by key and by id; search; update; archive.
const read = await contacts.batchApi.read({ idProperty: "shop_id", inputs: [{ id: "1" }], properties: ["firstname"], propertiesWithHistory: [] });
assert.equal(read.results[0].properties.firstname, "Ada");
const one = await contacts.basicApi.getById(first.results[0].id, ["email"]);
assert.equal(one.properties.email, "ada@example.com");
const updated = await contacts.batchApi.update({ inputs: [{ id: one.id, properties: { lastname: "L" } }] });
assert.equal(updated.results[0].properties.lastname, "L");
const found = await contacts.searchApi.doSearch({
  filterGroups: [{ filters: [{ propertyName: "lastname", operator: "EQ", value: "L" }] }], properties: ["lastname"], limit: 10,
});
assert.equal(found.total, 1);
await contacts.batchApi.archive({ inputs: [{ id: second.results[1].id }] });
await assert.rejects(contacts.basicApi.getById(second.results[1].id), (e) => e.code === 404);

// Companies, deals, and what links them.
const company = await companies.basicApi.create({ properties: { name: "Example" } });
const deal = await deals.basicApi.create({ properties: { dealname: "First", amount: "12.50" } });
assert.equal(deal.properties.amount, "12.50");
const linked = await associations.v4.batchApi.createDefault("contacts", "companies", { inputs: [{ _from: { id: one.id }, to: { id: company.id } }] });
assert.equal(linked.results.length, 1);
await associations.v4.batchApi.create("deals", "contacts", {
  inputs: [{ _from: { id: deal.id }, to: { id: one.id }, types: [{ associationCategory: "HUBSPOT_DEFINED", associationTypeId: 3 }] }],
});
const links = await associations.v4.batchApi.getPage("contacts", "deals", { inputs: [{ id: one.id }] });
assert.equal(String(links.results[0].to[0].toObjectId), deal.id);
await associations.v4.batchApi.archive("contacts", "companies", { inputs: [{ _from: { id: one.id }, to: [{ id: company.id }] }] });

// A custom object.
await schemas.coreApi.create({
  name: "machines", labels: { singular: "Machine", plural: "Machines" }, requiredProperties: ["serial"], searchableProperties: [],
  primaryDisplayProperty: "serial", associatedObjects: ["CONTACT"],
  properties: [{ name: "serial", label: "Serial", type: "string", fieldType: "text", hasUniqueValue: true }],
});
const schema = await schemas.coreApi.getById("machines");
assert.deepEqual(schema.requiredProperties, ["serial"]);
const machine = await client.crm.objects.batchApi.upsert("machines", { inputs: [{ id: "A1", idProperty: "serial", properties: {} }] });
assert.equal(machine.results[0].properties.serial, "A1");

// A merge, an erasure.
const merged = await contacts.basicApi.merge({ primaryObjectId: one.id, objectIdToMerge: first.results[1].id });
assert.equal(merged.id, one.id);
await contacts.basicApi.purge({ objectId: one.id });
await assert.rejects(contacts.basicApi.getById(one.id), (e) => e.code === 404);

// Limits: past 100 calls in 10 s the SDK sees a 429 with the policy's name.
let limited;
for (let i = 0; i < 120 && !limited; i++) {
  await contacts.basicApi.getPage(1).catch((e) => { limited = e; });
}
assert.equal(limited.code, 429);
assert.equal(limited.body.policyName, "TEN_SECONDLY_ROLLING");
console.log("ok");
