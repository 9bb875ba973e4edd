// Whether the server is there, and who is logged in.
import { Meteor } from "meteor/meteor";
import { Tracker } from "meteor/tracker";
import { find, tell } from "./page.js";

export function startSession() {
  Tracker.autorun(showStatus);
  Tracker.autorun(showUser);

  find("#login").addEventListener("submit", (event) => {
    event.preventDefault();
    const { username, password } = event.target.elements;
    Meteor.loginWithPassword(username.value, password.value, tell);
    password.value = "";
  });
  find("#user button").addEventListener("click", () => Meteor.logout(tell));
}

function showStatus() {
  const { status } = Meteor.status();
  Object.assign(find("#status"), { textContent: status }).dataset.status = status;
}

// Meteor.userId() is there at once, the user's document when the server has sent it.
function showUser() {
  const user = Meteor.user();
  find("#login").hidden = Boolean(Meteor.userId());
  find("#user").hidden = !user;
  find("#user strong").textContent = user ? user.username : "";
}
