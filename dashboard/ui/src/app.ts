// The dashboard's script. Every page is complete without it; it swaps parts of the page in
// place, draws the graph so that it answers the pointer, keeps the live count fresh, and
// writes dates, numbers and countries the reader's way.
import { drawChart } from './chart';
import { localise } from './local';
import { menus, suggestions, tabs } from './parts';
import { keepLive, wait } from './live';
import { navigate } from './swap';

function enhance(): void {
  localise(document);
  tabs();
  drawChart();
  wait();
}

menus();
suggestions();
keepLive();
navigate(enhance);
enhance();
