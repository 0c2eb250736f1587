import { endToEndSuite } from '../e2e/scenarios.ts';
import {
  skipWithoutRealControlPlane,
  startRealControlPlane,
} from '../support/real-control-plane.ts';

endToEndSuite({
  name: 'nodecertd on kube-apiserver and kube-controller-manager',
  start: startRealControlPlane,
  skip: skipWithoutRealControlPlane(),
});
