import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';
import { doctorSuite } from './doctor-scenarios.ts';

doctorSuite({ name: 'nodecertd doctor on the sandbox', start: startSandboxControlPlane });
