// Holds one JavaScript action: `node nodejs.cjs DESCRIPTOR`, in a directory of its own.
'use strict';

const fs = require('node:fs');
const {createRequire} = require('node:module');
const net = require('node:net');
const path = require('node:path');
const {pathToFileURL} = require('node:url');
const vm = require('node:vm');

const NAME_AT = 4;
const LENGTH_AT = 12;
const HEADER_BYTES = 20;

const channel = new net.Socket({fd: Number(process.argv[2]), readable: true, writable: true});
process.argv.splice(1);
let handler;
let name; // Of the request that is being answered.

function send(status, text) {
    const body = Buffer.from(text);
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32BE(status, 0);
    name.copy(header, NAME_AT);
    header.writeBigUInt64BE(BigInt(body.length), LENGTH_AT);
    channel.write(Buffer.concat([header, body]));
}

function refuse(text) {
    send(502, JSON.stringify({error: text}));
}

// What the code calls `main`: a name in its scope, or else one that it exports.
function fromText(code, main) {
    const file = path.join(process.cwd(), 'action.js');
    const find = `try { return eval(${JSON.stringify(main)}); } catch (error) {
        if (error instanceof ReferenceError) return module.exports[${JSON.stringify(main)}];
        throw error;
    }`;
    const wrapped = `(function (exports, require, module, __filename, __dirname) {${code}\n;${find}})`;
    const module = {exports: {}};
    const run = vm.runInThisContext(wrapped, {filename: file});
    return run(module.exports, createRequire(file), module, file, process.cwd());
}

async function fromFiles(main) {
    const here = process.cwd();
    if (!['package.json', 'index.js'].some((name) => fs.existsSync(path.join(here, name)))) {
        throw 'Zipped actions must contain either package.json or index.js at the root.';
    }
    const exported = await import(pathToFileURL(require.resolve(here)).href);
    const find = (from) => main.split('.').reduce((value, name) => value?.[name], from);
    return find(exported) ?? find(exported.default);
}

async function init({value}) {
    Object.assign(process.env, value.env);
    try {
        handler = value.code === undefined ? await fromFiles(value.main) : fromText(value.code, value.main);
        if (typeof handler !== 'function') {
            throw `Action entrypoint '${value.main}' is not a function.`;
        }
    } catch (error) {
        console.error('Error during initialization:', error);
        refuse(`Initialization has failed due to: ${error?.stack ?? error}`);
        return;
    }
    send(200, '{"OK":true}');
}

// Of an Error, JSON would keep nothing.
function plain(error) {
    return error instanceof Error ? {name: error.name, message: error.message, stack: error.stack, ...error} : error;
}

async function run({value, ...context}) {
    for (const [key, text] of Object.entries(context)) {
        process.env[`__OW_${key.toUpperCase()}`] = text;
    }
    try {
        const promised = handler(value);
        const result = await Promise.resolve(promised).then(
            (given) => (given === undefined ? {} : given),
            (error) => ({error: error ? plain(error) : {}}),
        );
        if (typeof result !== 'object') {
            console.error(`Result must be of type object but has type "${typeof result}":`, result);
            refuse('The action did not return a dictionary.');
            return;
        }
        send(200, JSON.stringify(result));
    } catch (error) {
        console.error(error);
        refuse(`An error has occurred: ${error}`);
    }
}

const answers = [init, run];
let chunks = [];
let size = 0;
let wanted = HEADER_BYTES;
channel.on('data', (data) => {
    chunks.push(data);
    size += data.length;
    if (size < wanted) {
        return;
    }
    const frame = Buffer.concat(chunks);
    chunks = [frame];
    wanted = HEADER_BYTES + Number(frame.readBigUInt64BE(LENGTH_AT));
    if (size < wanted) {
        return;
    }
    chunks = []; // Nothing follows a request before its reply.
    size = 0;
    wanted = HEADER_BYTES;
    name = frame.subarray(NAME_AT, LENGTH_AT);
    answers[frame.readUInt32BE(0)](JSON.parse(frame.subarray(HEADER_BYTES)));
});
channel.on('end', () => process.exit(0));
