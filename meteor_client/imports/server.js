// The dddp server, twice: as the app's own connection, and as a further one. Documents live in the collections of
// the connection they came by; two connections know nothing of each other.
import { Meteor } from "meteor/meteor";
import { DDP } from "meteor/ddp-client";
import { Mongo } from "meteor/mongo";

// Meteor.connection goes to where DDP_DEFAULT_CONNECTION_URL says. Whoever logs in does so here.
export const Authors = new Mongo.Collection("bookstore.author");
export const Books = new Mongo.Collection("bookstore.book");

// An app that talks to a Meteor server of its own reaches dddp in this way, and in no other.
const { DDP_DEFAULT_CONNECTION_URL: url } = __meteor_runtime_config__;
export const second = DDP.connect(url || "http://localhost:8000");
export const CheapBooks = new Mongo.Collection("bookstore.book", { connection: second });

// What a method will probably do, done here at once; the server has the last word, and undoes it where it says no.
Meteor.methods({
  "bookstore.rename_book"(id, title) {
    Books.update(id, { $set: { title: title.trim() } });
  },
});

// A method call as a promise. Meteor 3 has callAsync for it; this is what every release has.
export function call(name, ...params) {
  return new Promise((resolve, reject) => {
    Meteor.apply(name, params, {}, (error, result) => (error ? reject(error) : resolve(result)));
  });
}
