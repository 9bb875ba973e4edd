// @meteorrn/core is ES modules that do not say so and leave ".js" out, as React Native's bundler allows.
const inside = (url) => url?.includes("/@meteorrn/core/");

export function resolve(specifier, context, next) {
  const short = inside(context.parentURL) && specifier.startsWith(".") && !specifier.endsWith(".js");
  return next(short ? `${specifier}.js` : specifier, context);
}

export function load(url, context, next) {
  return next(url, inside(url) ? { ...context, format: "module" } : context);
}
