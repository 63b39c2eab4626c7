// What the demo's buttons do, and a table of what the tracker sends.

const panel = document.createElement("section");
panel.innerHTML =
  "<h2>What the tracker does</h2><p>Answer: <b id=answer></b></p>" +
  "<table><thead><tr><th>at</th><th>request</th><th>events</th><th>answer</th></tr></thead><tbody></tbody></table>" +
  "<h3>What it has stored</h3><pre></pre>";
document.querySelector("main").after(panel);

const fetched = window.fetch;
window.fetch = async (url, options) => {
  const row = panel.querySelector("tbody").insertRow(0);
  const events = options.body ? JSON.parse(options.body).events : [];
  const names = events.map(({ event, context }) => `${event} ${context.page.path} (${context.sequence})`);
  for (const text of [new Date().toLocaleTimeString(), new URL(url).pathname, names.join(", ")]) {
    row.insertCell().textContent = text;
  }
  const status = row.insertCell();
  try {
    const answer = await fetched(url, options);
    status.textContent = answer.status;
    return answer;
  } catch (error) {
    status.textContent = "none: it tries again later";
    throw error;
  }
};

setInterval(() => {
  const answer = window.warehouse?.consent();
  panel.querySelector("#answer").textContent = { true: "agreed", false: "declined" }[answer] ?? "none yet";
  panel.querySelector("pre").textContent =
    Object.entries(localStorage).map(([name, value]) => `${name} = ${value}`).join("\n") || "nothing";
}, 500);

document.addEventListener("click", (event) => {
  const { track, properties, unit, identify, reset, room } = event.target.dataset;
  if (track) warehouse.track(track, JSON.parse(properties), unit ? { unit_id: unit } : {});
  if (identify) warehouse.identify(identify);
  if (reset !== undefined) warehouse.reset();
  if (room !== undefined) {
    event.preventDefault();
    history.pushState({}, "", event.target.href);
    document.title = `Builder: ${event.target.textContent}`;
  }
});
