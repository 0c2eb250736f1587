/** Responses to the three requests, with a canary instead of a secret. */
export function reviews(token: string): Uint8Array[] {
  const user = { username: 'system:node:worker-1', uid: '1', groups: ['system:nodes', 'a'] };
  const secret = {
    'token-id': data(token.slice(0, 6)),
    'token-secret': data(token.slice(7)),
    'usage-bootstrap-authentication': data('true'),
  };
  return [
    { kind: 'SelfSubjectAccessReview', status: { allowed: true, reason: 'RBAC: allowed by a' } },
    { kind: 'SelfSubjectAccessReview', status: { allowed: false, denied: true } },
    { kind: 'SelfSubjectAccessReview', status: {} },
    { kind: 'SelfSubjectReview', metadata: {}, status: { userInfo: user } },
    { kind: 'SelfSubjectReview', status: { userInfo: { username: 'a', groups: null } } },
    { kind: 'Secret', type: 'bootstrap.kubernetes.io/token', data: secret },
    { kind: 'Secret', data: { ...secret, expiration: data('2026-01-01T00:00:00Z') } },
    { kind: 'Secret', data: { expiration: data('+275760-09-13T00:00:00.001Z') } },
    { kind: 'Secret' },
  ].map((object) => Buffer.from(JSON.stringify(object)));
}

function data(text: string): string {
  return Buffer.from(text).toString('base64');
}

export function kubeletConfigurations(): Uint8Array[] {
  const head = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
  return [
    `${head}rotateCertificates: true
serverTLSBootstrap: false
authentication:
  x509: &ca
    clientCAFile: /etc/kubernetes/pki/ca.crt
tlsCertFile: /var/lib/kubelet/pki/kubelet-server-current.pem
tlsPrivateKeyFile: /var/lib/kubelet/pki/kubelet-server-current.pem
`,
    `{"kind":"KubeletConfiguration","rotateCertificates":false,"serverTLSBootstrap":null}`,
    `${head}rotateCertificates: "yes"\nserverTLSBootstrap: 1\n`,
    `# nothing\n`,
    `${head}---\n${head}`,
  ].map((text) => Buffer.from(text));
}
