import { hiddenFaults } from './hidden-faults.ts';
import { kubeadmPlan } from './kubeadm-plan.ts';
import { wrongOrders } from './wrong-orders.ts';
import type { Scenario } from './scenario.ts';

/** In the order of `make rollover`. */
export const scenarios: readonly Scenario[] = [hiddenFaults, wrongOrders, kubeadmPlan];
