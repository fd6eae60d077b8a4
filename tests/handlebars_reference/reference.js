// Renders each case (a JSON array on stdin) with handlebars.js and prints what came out, one result for each.
const Handlebars = require("handlebars");
// What handlebars.js itself would print belongs into no result.
["debug", "info", "log", "warn", "error"].forEach((level) => { console[level] = () => {}; });

function rendered({template, data, partials, escape, strict}) {
  const environment = Handlebars.create();
  Object.entries(partials).forEach(([name, source]) => environment.registerPartial(name, source));
  try {
    return {text: environment.compile(template, {noEscape: !escape, strict})(data)};
  } catch (error) {
    return {error: String(error.message)};
  }
}

let input = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (chunk) => { input += chunk; });
process.stdin.on("end", () => process.stdout.write(JSON.stringify(JSON.parse(input).map(rendered))));
