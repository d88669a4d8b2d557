import { spawnSync } from 'node:child_process'

/** For the option `skip` of a test: false when the tool is installed, else the reason. */
export function missingTool(tool: string, debianPackage: string): string | false {
  const { status } = spawnSync('sh', ['-c', 'command -v "$1"', 'sh', tool])
  return status === 0 ? false : `${tool} is not installed (Debian: apt-get install ${debianPackage})`
}
