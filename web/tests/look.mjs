// node look.mjs URL IMAGE: prints what the page shows of an image, and its faults, as JSON.
import { launch, look, open } from "./browser.mjs";

const [url, image] = process.argv.slice(2);
const browser = await launch();
const { page, faults } = await open(browser, url);
const angles = await look(page, image);
console.log(JSON.stringify({ ...angles, faults, problem: await page.textContent("#problem") }));
await browser.close();
