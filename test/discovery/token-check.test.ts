import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { failureOf } from '../kube/support/requests.ts';
import { discover, requestFor, TestCluster, Trial } from './support/test-cluster.ts';

describe('authenticates()', () => {
  it('refuses a token that the API server takes for another user', async () => {
    await using cluster = await TestCluster.start();
    cluster.username = 'eve\u0007';
    const failure = await failureOf(discover(cluster));
    assert.equal(failure.code, 'TOKEN_REJECTED');
    assert.match(
      failure.message,
      /: the API server authenticates token abcdef as eve, expected system:bootstrap:abcdef$/,
    );
  });

  it('accepts an API server without SelfSubjectReview', async () => {
    await using cluster = await TestCluster.start();
    cluster.hasReviews = false;
    assert.equal((await discover(cluster)).verifiedBy, 'pin');
  });

  it('is false for a rejected token of such an API server', async () => {
    await using cluster = await TestCluster.start();
    cluster.hasReviews = false;
    cluster.authenticating = [];
    assert.match(
      (await failureOf(discover(cluster))).message,
      /: token abcdef does not authenticate/,
    );
  });

  it('never lets the secret into a message', async () => {
    await using cluster = await TestCluster.start();
    cluster.authenticating = [];
    const trial = new Trial(requestFor(cluster));
    const { message, remedy = '' } = await failureOf(trial.result);
    assert.doesNotMatch([message, remedy, ...trial.lines].join('\n'), /0123456789abcdef/);
  });
});
