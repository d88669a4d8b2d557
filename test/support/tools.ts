import { spawnSync } from 'node:child_process'

/** For a test's `skip`: false where the tool is here, else why it is skipped. */
export function missingTool(tool: string, debianPackage: string): string | false {
  const { status } = spawnSync('sh', ['-c', 'command -v "$1"', 'sh', tool])
  return status === 0 ? false : `${tool} is not here (Debian: apt-get install ${debianPackage})`
}
