import { useEffect, useRef } from "react";

/** What a dialog was opened from gets the focus back when it is gone; returns what is told of it. */
export function useOpener(isOpen: boolean): (opener: HTMLElement | null) => void {
  const opener = useRef<HTMLElement | null>(null);
  const was = useRef(false);
  useEffect(() => {
    if (was.current && !isOpen) opener.current?.focus();
    was.current = isOpen;
  }, [isOpen]);
  return (element) => { opener.current = element; };
}
