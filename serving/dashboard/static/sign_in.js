// Says beside the form why a key was refused; without this script the page that comes says it.

const form = document.getElementById("sign-in");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = document.getElementById("problem");
  problem.textContent = "";
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      redirect: "manual",
    });
    // A redirect is what a key that is right gets.
    if (answer.type === "opaqueredirect") {
      const then = form.elements.next.value;
      const isPath = /^\/(?![/\\])/.test(then);
      location.assign(isPath ? then : `${document.body.dataset.root}/`);
      return;
    }
    problem.textContent = (await answer.json()).detail;
  } catch {
    problem.textContent = "The warehouse can't be reached. Try again.";
  }
  form.elements.key.select();
});
