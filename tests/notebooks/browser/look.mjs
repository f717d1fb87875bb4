// Opens a page in a real browser, opens whatever opens, and says what a person would see. One JSON object on stdout.
import { writeFileSync } from "node:fs";
import bundled from "@sparticuz/chromium";
import { chromium } from "playwright-core";

const [page_file, picture] = process.argv.slice(2);
const browser = await chromium.launch({ args: bundled.args, executablePath: await bundled.executablePath() });
const page = await browser.newPage({ viewport: { width: 1000, height: 800 } });
const trouble = [];
page.on("console", (line) => trouble.push(line.text()));
page.on("pageerror", (error) => trouble.push(String(error)));
page.on("request", (request) => request.url().startsWith("file:") || trouble.push(request.url()));
await page.goto(`file://${page_file}`);
const seen = () => page.locator("body").innerText();
const closed = await seen();
for (const summary of await page.locator("summary").all()) await summary.click();
const open = await seen();
const colour = async (kind) =>
  page.locator(kind).first().evaluate((found) => getComputedStyle(found).backgroundColor).catch(() => "");
writeFileSync(picture, await page.screenshot({ fullPage: true }));
const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
console.log(JSON.stringify({ closed, open, trouble, wide, ok: await colour("b.ok"), no: await colour("b.no") }));
await browser.close();
