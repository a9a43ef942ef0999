// A session of the npm client: prints what came of each step, as JSON. Run from the folder that has the package.
const openwhisk = require(`${process.cwd()}/node_modules/openwhisk`)

const HELLO = 'def main(args):\n    print("hello")\n    return {"greeting": "Hello " + args.get("name", "you")}\n'
const FAILS = "def main(args): return {'error': 'mine'}"

async function main() {
  const [apihost, api_key] = process.argv.slice(2)
  const ow = openwhisk({ apihost, api_key })
  const found = {}
  const step = async (name, work) => {
    try {
      found[name] = await work()
    } catch (error) {
      found[name] = { failed: error.statusCode, error: error.error, message: error.message }
    }
  }
  await step('create', () => ow.actions.create({ name: 'n', action: HELLO, kind: 'python:default' }))
  await step('again', () => ow.actions.create({ name: 'n', action: HELLO, kind: 'python:3' }))
  await step('update', () => ow.actions.update({
    name: 'n', action: HELLO, kind: 'python:3', params: { name: 'Bob' }, annotations: { note: 1 }, limits: { timeout: 2000 }
  }))
  await step('get', () => ow.actions.get('n'))
  await step('getWithoutCode', () => ow.actions.get({ name: 'n', code: false }))
  await step('list', () => ow.actions.list({ limit: 10 }))
  await step('invoke', () => ow.actions.invoke('n'))
  await step('blocking', () => ow.actions.invoke({ name: 'n', blocking: true }))
  await step('result', () => ow.actions.invoke({ name: 'n', blocking: true, result: true, params: { name: 'Al' } }))
  await step('fails', () => ow.actions.create({ name: 'fails', action: FAILS, kind: 'python:3' }))
  await step('failing', () => ow.actions.invoke({ name: 'fails', blocking: true }))
  await step('failingResult', () => ow.actions.invoke({ name: 'fails', blocking: true, result: true }))
  await step('sequence', () => ow.actions.create({ name: 's', sequence: ['/_/n', 'n'] }))
  await step('sequenceResult', () => ow.actions.invoke({ name: 's', blocking: true, result: true }))
  const id = found.blocking.activationId
  await step('activation', () => ow.activations.get(id))
  await step('logs', () => ow.activations.logs({ activationId: id }))
  await step('activationResult', () => ow.activations.result(id))
  await step('activations', () => ow.activations.list({ name: 'n', limit: 2 }))
  await step('packageCreate', () => ow.packages.create({ name: 'p', package: { parameters: [{ key: 'name', value: 'Pat' }] } }))
  await step('inPackage', () => ow.actions.create({ name: 'p/n', action: HELLO, kind: 'python:3' }))
  await step('inPackageResult', () => ow.actions.invoke({ name: 'p/n', blocking: true, result: true }))
  await step('package', () => ow.packages.get('p'))
  await step('packageList', () => ow.packages.list())
  await step('packageDelete', () => ow.packages.delete('p'))
  await step('namespaces', () => ow.namespaces.list())
  await step('trigger', () => ow.triggers.create({ name: 't' }))
  await step('missing', () => ow.actions.get('nobody'))
  await step('stranger', () => openwhisk({ apihost, api_key: 'nobody:key' }).actions.list())
  await step('delete', () => ow.actions.delete('n'))
  process.stdout.write(JSON.stringify(found))
}

main().catch(error => { process.stderr.write(`${error.stack}\n`); process.exitCode = 1 })
