import { Meteor } from "meteor/meteor";
import { startBooks } from "../imports/books.js";
import { startSession } from "../imports/session.js";

Meteor.startup(() => {
  startSession();
  startBooks();
});
