// Where a module of the package names another one of it without extension, the extension is added. Also finds the
// package itself below SDK_JS_FOLDER, for it is not installed beside these tests.
import { pathToFileURL } from "node:url";

const modules = `${pathToFileURL(process.env.SDK_JS_FOLDER)}/node_modules/`;

export function resolve(name, context, next) {
  if (name === "@inferencesh/sdk") return next(name, { ...context, parentURL: modules });
  const isOwn = context.parentURL?.startsWith(`${modules}@inferencesh/sdk/`) && name.startsWith(".");
  return next(isOwn && !/\.m?js$/.test(name) ? `${name}.js` : name, context);
}
