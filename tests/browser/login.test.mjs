// The login page, and what it opens and closes.

import assert from "node:assert/strict";

import { logIn, sendLogin } from "./lib/browser.mjs";
import { EMAIL, PASSWORD } from "./lib/installation.mjs";
import { Stage } from "./lib/stage.mjs";

const stage = new Stage();

/** Where a page is, and where its login leads. */
const place = (page) => {
  const { pathname, searchParams } = new URL(page.url());
  return { path: pathname, next: searchParams.get("next") };
};

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "" : ", also without JavaScript";

  stage.test(`a wrong password is answered by an error, and the e-mail stays in the form${how}`, async () => {
    const { page, problems } = await stage.newPage({ javaScriptEnabled });
    await page.goto("/login");
    await sendLogin(page, EMAIL, "a wrong one");
    await page.locator("[role=alert]", { hasText: /\w/ }).waitFor();
    assert.equal(place(page).path, "/login");
    assert.equal(await page.locator("input[name=email]").inputValue(), EMAIL);
    assert.equal(await page.locator("input[name=password]").inputValue(), "", "a password is never sent back");
    // Browsers note an answer of 401 in the console by themselves.
    assert.deepEqual(problems.filter((problem) => !/status of 401/.test(problem)), []);
  });

  stage.test(`a right password leads to the overview${how}`, async () => {
    const { page, problems } = await stage.newPage({ javaScriptEnabled });
    await logIn(page);
    await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
    assert.deepEqual(problems, []);
  });

  stage.test(`who asks for the nodes without a session gets there after the login${how}`, async () => {
    const { page, problems } = await stage.newPage({ javaScriptEnabled });
    await page.goto("/nodes");
    assert.deepEqual(place(page), { path: "/login", next: "/nodes" });
    await sendLogin(page, EMAIL, PASSWORD);
    await page.waitForURL("/nodes");
    assert.deepEqual(problems, []);
  });

  stage.test(`logging out ends the session for good${how}`, async () => {
    const { page, problems } = await stage.newPage({ javaScriptEnabled });
    await logIn(page);
    const [cookie] = await page.context().cookies();
    await page.getByRole("button", { name: "Log out", exact: true }).click();
    await page.waitForURL("/login");
    assert.deepEqual(await page.context().cookies(), []);
    await page.context().addCookies([cookie]);
    await page.goto("/nodes");
    assert.equal(place(page).path, "/login", "the cookie of the session still opens the nodes");
    assert.deepEqual(problems, []);
  });
}

stage.test("no link leads from the login to another site", async () => {
  for (const next of ["https://evil.example.test/", "//evil.example.test/"]) {
    const { page, problems } = await stage.newPage();
    await page.goto(`/login?next=${encodeURIComponent(next)}`);
    await sendLogin(page, EMAIL, PASSWORD);
    await page.waitForURL("/");
    assert.deepEqual(problems, [], next);
  }
});
