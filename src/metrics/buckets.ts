/** The buckets of the kubelet's rotation histogram: a minute to four years (k8s.io/kubernetes pkg/kubelet/certificate/kubelet.go). */
export const ageBuckets = [
  60, 3_600, 14_400, 86_400, 604_800, 2_592_000, 7_776_000, 15_552_000, 31_104_000, 124_416_000,
];

/** From a signer that issues at once to a CSR that was pending for a day. */
export const rotationBuckets = [
  0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 43_200, 86_400,
];

/** Plain requests take milliseconds; a watch lasts until its deadline of some minutes. */
export const requestBuckets = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 900,
];

/** From a quiet machine to a CSR that waits for its Node for half an hour. */
export const decisionBuckets = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800,
];
