import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';
import { endToEndSuite } from './scenarios.ts';

endToEndSuite({ name: 'nodecertd on the sandbox', start: startSandboxControlPlane });
