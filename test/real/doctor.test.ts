import { doctorSuite } from '../e2e/doctor-scenarios.ts';
import {
  skipWithoutRealControlPlane,
  startRealControlPlane,
} from '../support/real-control-plane.ts';

doctorSuite({
  name: 'nodecertd doctor on kube-apiserver and kube-controller-manager',
  start: startRealControlPlane,
  skip: skipWithoutRealControlPlane(),
});
