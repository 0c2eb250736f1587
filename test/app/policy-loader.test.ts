import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { LoadedPolicy } from '../../src/app/policy-loader.ts';
import { PolicyLoader } from '../../src/app/policy-loader.ts';
import { defaultApproverPolicy } from '../../src/core/approver-policy.ts';
import { hasCode } from '../../src/core/errors.ts';
import { node } from '../approver/cluster.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { PodVolume } from '../support/pod-volumes.ts';
import { inventoryText, PolicyFiles, policyText } from './policy-files.ts';

async function valid(context: TestContext): Promise<PolicyFiles> {
  const files = new PolicyFiles(await temporaryDirectory(context));
  await files.writePolicy();
  await files.writeInventory('n1');
  return files;
}

/** What the inventory says about the name of this node. */
function verdict({ sources: [inventory] }: LoadedPolicy, name: string): string | undefined {
  return inventory?.judge(node({ name }), [{ kind: 'dns', name }]).kind;
}

describe('PolicyLoader', () => {
  it('has the default policy and watches nothing without a file', async () => {
    const loader = new PolicyLoader(undefined);
    assert.deepEqual(await loader.load(), { policy: defaultApproverPolicy, sources: [] });
    assert.equal(await loader.isChanged(), false);
  });

  it('load() reads the policy and its inventory', async (context) => {
    const loaded = await new PolicyLoader((await valid(context)).policy).load();
    assert.deepEqual([verdict(loaded, 'n1'), verdict(loaded, 'n2')], ['agrees', 'disagrees']);
    assert.equal(loaded.invalidInventory, undefined);
  });

  it('load() keeps the last valid inventory, and says why', async (context) => {
    const files = await valid(context);
    const loader = new PolicyLoader(files.policy);
    await loader.load();
    await writeFile(files.inventory, 'kind: Other');
    await files.writePolicy({ mode: 'observe' });
    const loaded = await loader.load();
    assert.equal(loaded.policy.mode, 'observe');
    assert.equal(verdict(loaded, 'n1'), 'agrees');
    assert.ok(hasCode(loaded.invalidInventory, 'CONFIG_INVALID'));
    await files.writeInventory('n2');
    const mended = await loader.load();
    assert.deepEqual([verdict(mended, 'n1'), mended.invalidInventory], ['disagrees', undefined]);
  });

  it('load() has no inventory if the first one is missing, or the policy names another', async (context) => {
    const files = await valid(context);
    await rm(files.inventory);
    const loader = new PolicyLoader(files.policy);
    assert.equal(verdict(await loader.load(), 'n1'), 'unavailable');
    await files.writeInventory('n1');
    assert.equal(verdict(await loader.load(), 'n1'), 'agrees');
    await files.writePolicy({ sources: { inventory: { file: 'other.yaml' } } });
    assert.equal(verdict(await loader.load(), 'n1'), 'unavailable');
  });

  it('load() refuses an invalid policy, and a missing one', async (context) => {
    const files = await valid(context);
    const loader = new PolicyLoader(files.policy);
    await files.writePolicy({ mode: 'allow' });
    await assert.rejects(loader.load(), { code: 'CONFIG_INVALID', message: /mode/ });
    await rm(files.policy);
    await assert.rejects(loader.load(), { code: 'CONFIG_UNREADABLE' });
  });

  it('isChanged() is true once after each change of a file, valid or not', async (context) => {
    const files = await valid(context);
    const loader = new PolicyLoader(files.policy);
    await loader.load();
    for (const change of [
      () => files.writeInventory('n1', 'n2'),
      () => writeFile(files.inventory, 'kind: Other'),
      () => rm(files.inventory),
      () => files.writeInventory('n3'),
      () => files.writePolicy({ mode: 'observe' }),
      () => writeFile(files.policy, 'kind: Other'),
    ]) {
      assert.equal(await loader.isChanged(), false);
      await change();
      assert.equal(await loader.isChanged(), true);
      await loader.load().catch(() => undefined);
    }
    assert.equal(await loader.isChanged(), false);
  });

  it('notices a changed ConfigMap, although only the link ..data is replaced', async (context) => {
    const volume = new PodVolume(await temporaryDirectory(context));
    const files = new PolicyFiles(volume.path);
    const write = (mode: string): Promise<void> =>
      volume.write({
        'policy.yaml': policyText({ mode }),
        'nodes.yaml': inventoryText('n1'),
      });
    await write('observe');
    const loader = new PolicyLoader(files.policy);
    assert.equal((await loader.load()).policy.mode, 'observe');
    await write('enforce');
    assert.equal(await loader.isChanged(), true);
    assert.equal((await loader.load()).policy.mode, 'enforce');
    assert.equal(await loader.isChanged(), false);
  });
});
